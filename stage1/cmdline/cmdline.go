// Package cmdline reads the kernel command line the way the kernel does.
//
// The rules are those of next_arg in the kernel's lib/cmdline.c: words are
// separated by white space, a double quote starts or ends a stretch in which
// white space does not separate, and a quote that opens a word or a value is
// dropped together with the one that closes it. Other quotes stay. An
// unbalanced quote runs to the end of the line.
package cmdline

import "strings"

// A Param is one word of the command line.
type Param struct {
	Key      string // text before the first '=' outside the leading quote
	Value    string // text after it, which may contain further '='
	HasValue bool   // false for a flag such as "quiet"
}

// Params are the words of a command line in their order. Keys may repeat.
type Params []Param

// Parse splits a command line. Any text is accepted.
func Parse(line string) Params {
	var params Params
	for rest := skipSpace(line); rest != ""; rest = skipSpace(rest) {
		var p Param
		p, rest = next(rest)
		params = append(params, p)
	}
	return params
}

// next cuts the first word off a line that starts with one.
func next(line string) (Param, string) {
	quotedWord := line[0] == '"'
	if quotedWord {
		line = line[1:]
	}
	inQuote, equals, end := quotedWord, -1, 0
	for ; end < len(line); end++ {
		c := line[end]
		if isSpace(c) && !inQuote {
			break
		}
		if c == '=' && equals < 0 && end > 0 {
			equals = end
		}
		if c == '"' {
			inQuote = !inQuote
		}
	}
	word, rest := line[:end], line[end:]

	// As in the kernel, the quote that closes the word is looked for only
	// where one opened the word or its value.
	if equals < 0 {
		if quotedWord {
			word = strings.TrimSuffix(word, `"`)
		}
		return Param{Key: word}, rest
	}
	key, value := word[:equals], word[equals+1:]
	if strings.HasPrefix(value, `"`) {
		value = strings.TrimSuffix(value[1:], `"`)
	} else if quotedWord {
		value = strings.TrimSuffix(value, `"`)
	}
	return Param{Key: key, Value: value, HasValue: true}, rest
}

// Last returns the value of the last parameter with the key that has one.
func (ps Params) Last(key string) (string, bool) {
	for i := len(ps) - 1; i >= 0; i-- {
		if ps[i].Key == key && ps[i].HasValue {
			return ps[i].Value, true
		}
	}
	return "", false
}

// All returns the values of every parameter with the key, in order.
func (ps Params) All(key string) []string {
	var values []string
	for _, p := range ps {
		if p.Key == key && p.HasValue {
			values = append(values, p.Value)
		}
	}
	return values
}

// Has tells whether a flag with one of the names stands alone, without '='.
func (ps Params) Has(names ...string) bool {
	for _, p := range ps {
		for _, name := range names {
			if p.Key == name && !p.HasValue {
				return true
			}
		}
	}
	return false
}

// isSpace is the kernel's isspace for ASCII; 0xa0 counts there as well.
func isSpace(c byte) bool {
	return c == ' ' || c >= '\t' && c <= '\r' || c == 0xa0
}

func skipSpace(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}
