"""What all reports are drawn with: pages, figures and marks."""
