"""The assurance case: an argument whose evidence is live, and the verification of networks that it leans on."""
