"""Checks across fields."""


def problems(config):
    return []
