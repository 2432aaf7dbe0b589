"""Augmentation: policies of a picture and the operations that they are made of; Mixup, CutMix, erasing of a batch."""
