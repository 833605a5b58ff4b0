"""The flags of each verb, and which choices they belong to; nothing here loads more than argparse."""
