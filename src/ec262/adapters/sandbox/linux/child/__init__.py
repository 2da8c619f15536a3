"""What runs in the zygote and in the children that it forks. Loads little: workers wait for it when they start."""
