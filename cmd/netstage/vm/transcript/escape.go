package transcript

// scanner is the state of a scan for the escape sequences of terminals
// (ECMA-48).
type scanner int

const (
	plain      scanner = iota
	introduced         // after ESC
	sequence           // in a control sequence, ESC [
	designate          // after ESC ( and the like: one more byte follows
	title              // in a string, ESC ]: up to BEL or ESC \
)

// skip tells whether a byte is part of an escape sequence.
func (e *scanner) skip(b byte) bool {
	switch *e {
	case introduced:
		switch {
		case b == '[':
			*e = sequence
		case b == ']':
			*e = title
		case b >= ' ' && b <= '/':
			*e = designate
		default:
			*e = plain
		}
		return true
	case sequence:
		if b >= '@' && b <= '~' {
			*e = plain
		}
		return true
	case designate:
		*e = plain
		return true
	case title:
		switch b {
		case 7:
			*e = plain
		case 27:
			*e = introduced
		}
		return true
	}
	if b == 27 {
		*e = introduced
		return true
	}
	return false
}
