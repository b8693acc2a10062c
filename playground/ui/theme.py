"""The look: one accent, system fonts, contrast that passes in light and dark."""

from __future__ import annotations

import gradio as gr


def theme() -> gr.themes.Base:
    """Gradio's default theme with our accent; no font is fetched."""
    return gr.themes.Default(
        primary_hue="blue", neutral_hue="zinc", spacing_size="sm", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    ).set(
        body_text_color_subdued="#52525b",
        body_text_color_subdued_dark="#b4b4bd",
        block_info_text_color="#52525b",
        block_info_text_color_dark="#b4b4bd",
        block_label_text_color="*neutral_700",
        slider_color="#0072b2",
        slider_color_dark="#56b4e9",
        button_primary_background_fill="#00639b",
        button_primary_background_fill_hover="#005282",
        button_primary_background_fill_dark="#00639b",
        button_primary_background_fill_hover_dark="#0072b2",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
    )
