"""What features are worth: kept, classified, drawn, made a head."""
