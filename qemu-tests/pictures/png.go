package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
)

// convert makes a small PNG of a portable pixmap (ppm(5), P6), as QEMU writes
// them: a text screen has few colours.
func convert(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var width, height, most int
	in := bytes.NewReader(text)
	if _, err := fmt.Fscanf(in, "P6\n%d %d\n%d\n", &width, &height, &most); err != nil || most != 255 {
		return fmt.Errorf("%s is no pixmap of 24 bits: %v", from, err)
	}
	pixels := text[len(text)-in.Len():]
	if len(pixels) < 3*width*height {
		return fmt.Errorf("%s ends early", from)
	}
	picture := image.NewPaletted(image.Rect(0, 0, width, height), nil)
	index := map[color.RGBA]uint8{}
	for i := range width * height {
		c := color.RGBA{pixels[3*i], pixels[3*i+1], pixels[3*i+2], 255}
		n, ok := index[c]
		if !ok {
			if len(index) == 256 {
				return fmt.Errorf("%s has more than 256 colours: it is no text screen", from)
			}
			n = uint8(len(index))
			index[c] = n
			picture.Palette = append(picture.Palette, c)
		}
		picture.Pix[i] = n
	}
	if len(index) < 2 {
		return fmt.Errorf("%s is blank", from)
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, picture); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "pictures: %s: %d by %d, %d colours, %d bytes\n", to, width, height, len(index), out.Len())
	return os.WriteFile(to, out.Bytes(), 0o644)
}
