"""Colours and names of the classes of label maps: known tables, and files of annotation tools."""
