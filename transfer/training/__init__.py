"""The recipe: warm-up over a frozen body, then fine-tuning."""
