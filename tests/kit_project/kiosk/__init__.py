"""What is sold at the kiosk, and how it is paid."""
