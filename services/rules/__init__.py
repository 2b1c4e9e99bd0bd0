"""What an event is worth: catalogue, earning rules, the event log."""
