"""Shape against texture: pictures whose cues conflict, and whose side an answer takes."""
