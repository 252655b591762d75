"""How the page looks and speaks: colours, fonts, the style sheet and gradio's own words."""

from pathlib import Path

import gradio as gr

CSS = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
# gradio would say these in the browser's language, amid a page in English, and has no name for the
# button `common.upload` in any
ENGLISH = {
    "upload_text.drop_file": "Drop files here",
    "upload_text.click_to_upload": "Choose files",
    "common.or": "or",
    "common.clear": "Clear",
    "common.upload": "Add more files",
}
LANGUAGES = (
    "ar ca ckb de en es et eu fa fi fr he hi id ja ko lt nb nl pl pt pt-BR ro ru sv ta th tr uk "
    "ur uz zh-CN zh-TW"
)
WORDS = gr.I18n(**dict.fromkeys(LANGUAGES.split(), ENGLISH))


def theme() -> gr.themes.Base:
    """Fonts that come with the machine, and text that is dark enough to read."""
    return gr.themes.Soft(
        primary_hue="blue",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    ).set(
        color_accent="*primary_600",
        checkbox_label_background_fill_selected="*primary_600",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        checkbox_label_border_width="1px",
        checkbox_label_background_fill_hover_dark="*neutral_700",
        button_secondary_background_fill_hover_dark="*neutral_700",
        checkbox_label_border_color="*neutral_300",
        checkbox_label_border_color_dark="*neutral_600",
        input_border_width="1px",
        input_border_color="*neutral_400",
        input_border_color_dark="*neutral_500",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_600",
        button_border_width="1px",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_title_background_fill="none",
        block_label_background_fill="*neutral_100",
        block_label_background_fill_dark="*neutral_800",
        block_title_padding="0",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_700",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
        link_text_color_hover="*primary_800",
        link_text_color_hover_dark="*primary_200",
        link_text_color_visited="*primary_700",
        link_text_color_visited_dark="*primary_300",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_700",
    )
