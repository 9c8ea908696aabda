"""What the app needs in Azure, and the offline checks of it."""
