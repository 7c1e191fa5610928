# A migration was killed half-way.
interrupt
