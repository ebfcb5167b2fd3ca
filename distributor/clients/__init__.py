"""The only code that opens a connection or starts a child; each library has its border here."""
