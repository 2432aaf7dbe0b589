"""Scenes changed before they are generated: classes, objects and regions, replaced, removed or inserted."""
