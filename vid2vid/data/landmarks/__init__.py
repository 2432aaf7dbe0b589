"""Landmarks of people: their files of any known skeleton, as bodies, hands and faces of one form."""
