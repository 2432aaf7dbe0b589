"""Data on other machines: addresses (s3://, gs://, hf://, https://) that are read like paths, through a local cache."""
