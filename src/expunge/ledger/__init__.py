"""The ground floor: strict JSON, signatures, receipts, the Merkle log and the workspace store. No torch.

Nothing is imported here, so that each part starts alone: `from expunge.ledger.receipts import Receipt`.
"""
