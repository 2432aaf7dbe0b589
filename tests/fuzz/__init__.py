"""Every reader of files under damaged and hostile ones: it says what is wrong, in bounded time and memory."""
