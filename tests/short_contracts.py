"""Contracts from which questions can be made."""

TOPICS = ("lease of the warehouse", "sale of the vessel", "loan to the borrower", "licence of the patent")


def contract(number: int) -> str:
    """Write a contract of one topic, whose sections tell their own numbers."""
    topic = TOPICS[number % len(TOPICS)]
    head = (
        f'This agreement about the {topic} is made between Party {number} (the "Grantor") and its "Lender". '
    )
    head += f'The "Closing Date" is set in Section {number}.1, the "Fee" is ${number},000 '
    head += f'and the "Term" {number + 2} years. '
    body = [
        f"In matter {n} of the {topic} the Grantor shall pay ${n * 7 + number},500 within {n + 3} days "
        f"under Section {number}.{n + 2}. No Fee is due before the Closing Date where notice "
        f"number {n * number} was given in writing to the Lender by post."
        for n in range(1, 9)
    ]
    return head + "\n\n".join(body)
