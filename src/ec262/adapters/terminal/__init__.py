"""What people see: progress, and plots."""
