"""What the tls room promises, held to real OpenSSL over socket pairs; nothing leaves the machine."""
