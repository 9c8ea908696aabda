"""Zero-downtime rotation of database credentials for workloads on AKS."""
