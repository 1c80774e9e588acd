"""What can stop a training, found early and said with the next step."""
