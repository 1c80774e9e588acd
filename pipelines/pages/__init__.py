"""What the pipelines' pages share: style, charts, readable values, drawing."""
