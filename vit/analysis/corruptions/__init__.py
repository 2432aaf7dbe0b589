"""The fifteen corruptions of ImageNet-C, made on the fly, on the device, for pictures of any size."""
