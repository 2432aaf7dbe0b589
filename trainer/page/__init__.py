"""The page of scripts/app.py: what its tabs share, and the tab of all runs. Imported only where gradio is installed."""
