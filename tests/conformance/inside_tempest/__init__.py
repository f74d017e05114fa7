"""What runs inside Tempest's environment."""
