"""The flags of each verb; nothing here loads more than argparse."""
