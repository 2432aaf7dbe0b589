"""The tab of all runs: what each is doing and how far it is."""

from __future__ import annotations

import gradio as gr

from trainer.page.contract import Page, Tab


def build(page: Page) -> None:
    """Its components and events."""
    rows = [[name] for name in page.all_runs()]
    gr.Dataframe(rows, headers=["run"], interactive=False, label="Runs")


tab = Tab("runs", "Runs", build)
