"""What are a trained model's answers worth? Fitted on dev, judged on test, with intervals."""
