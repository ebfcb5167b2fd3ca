"""The ground floor: frozen values and pure functions. Nothing here opens anything."""
