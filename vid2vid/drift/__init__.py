"""Long videos: whether frame 1,000 looks as frame 100 did."""
