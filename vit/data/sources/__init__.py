"""Where pictures and labels lie: folders, tables, shards, Hugging Face's data sets, arrays."""
