"""What all reports are drawn with: pages, figures, marks and numbers as text."""
