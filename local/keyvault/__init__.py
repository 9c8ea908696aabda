"""Key Vault: the part of its REST surface that serves secrets."""
