"""Transfer learning for images: VGG16 from timm, fine-tuned in two visible phases."""
