package remote

// SetWide makes blobs of some bytes big, their parts small, and a server slow that gives less than so many bytes a second.
func (c *Client) SetWide(least, first, part int64, below float64) {
	c.tuning.least, c.tuning.first, c.tuning.part, c.tuning.below = least, first, part, below
}

// Parts is how many parts are in memory.
func (c *Client) Parts() int { return len(c.slots) }

// SetPiece makes the pieces of uploads small.
func (c *Client) SetPiece(n int64) { c.tuning.piece = n }
