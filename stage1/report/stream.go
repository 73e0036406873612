package report

// Stream says how an image came that was used meanwhile.
type Stream struct {
	Received   int64   `json:"received"` // bytes from servers
	TookMS     int64   `json:"took_ms"`
	Reads      int64   `json:"reads"`  // of the kernel
	Waited     int64   `json:"waited"` // of these
	LongestMS  int64   `json:"longest_wait_ms"`
	Restarts   int64   `json:"restarts"`    // of the process that fetches
	FirstReads []Range `json:"first_reads"` // of the image, in the order in which they were first read
}

// Range is one of bytes.
type Range struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// MostFirstReads is how many ranges a report has at most; what a boot reads
// first is among the first of them.
const MostFirstReads = 1024
