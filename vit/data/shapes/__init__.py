"""The built-in pictures: shapes with textures."""
