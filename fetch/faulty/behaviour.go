// Package faulty is an HTTP server that serves one file and misbehaves as told:
// it drops, resets, stalls, lies about ranges and lengths, flips bytes. It is
// for tests of whoever downloads.
package faulty

import (
	"encoding/json"
	"fmt"
	"time"
)

// How a body that is cut ends.
const (
	EndClose = "close" // the connection is closed
	EndReset = "rst"   // it is reset
	EndStall = "stall" // nothing more comes, and the connection stays
)

// Behaviour is how the server answers some requests. The zero value is a
// correct server with ranges, a strong ETag and Last-Modified. Fields combine.
type Behaviour struct {
	// Times is for how many requests this holds: 0 means one, -1 all that
	// follow.
	Times int `json:"times,omitempty"`

	DelayMS    int    `json:"delay_ms,omitempty"`      // before the header
	BodyDelay  int    `json:"body_delay_ms,omitempty"` // between header and body, in ms
	Hang       bool   `json:"hang,omitempty"`          // accept the request and never answer
	Status     int    `json:"status,omitempty"`        // an answer without an image, such as 404 or 503
	RetryAfter string `json:"retry_after,omitempty"`   // with Status
	Location   string `json:"location,omitempty"`      // redirect; "loop" leads back here

	NoRanges     bool   `json:"no_ranges,omitempty"`      // 200 from the start whatever is asked
	NoLength     bool   `json:"no_length,omitempty"`      // the end of the connection is the end of the body
	Chunked      bool   `json:"chunked,omitempty"`        // likewise without a length
	Length       int64  `json:"length,omitempty"`         // claimed instead of the right one
	NoValidators bool   `json:"no_validators,omitempty"`  // neither ETag nor Last-Modified
	ETag         string `json:"etag,omitempty"`           // instead of the right one, quotes included
	IgnoreIf     bool   `json:"ignore_if,omitempty"`      // If-Range is not looked at
	ContentRange string `json:"content_range,omitempty"`  // instead of the right one
	Encoding     string `json:"encoding,omitempty"`       // Content-Encoding
	PartAs200    bool   `json:"part_as_200,omitempty"`    // a part has the status 200
	NoPartHeader bool   `json:"no_part_header,omitempty"` // and it does not tell its range

	End  string  `json:"end,omitempty"`  // how the body ends after Cut of its bytes; empty: it is whole
	Cut  int64   `json:"cut,omitempty"`  // bytes of this body
	Flip []int64 `json:"flip,omitempty"` // offsets in the file whose byte is inverted
	Rate int64   `json:"rate,omitempty"` // bytes per second; 0: as fast as can be
}

// Parse reads a script as JSON: an array of Behaviours.
func Parse(script []byte) ([]Behaviour, error) {
	var list []Behaviour
	if err := json.Unmarshal(script, &list); err != nil {
		return nil, fmt.Errorf("script of a faulty server: %w", err)
	}
	return list, nil
}

// Entry is one request that came in, and what became of it.
type Entry struct {
	At        time.Time
	Method    string
	Path      string
	Query     string
	Range     string
	IfRange   string
	UserAgent string
	Auth      string // the Authorization header
	Referer   string
	Status    int
	Sent      int64 // bytes of the body
	Behaviour Behaviour
}
