package eval

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// Table is results: a row for each way, a column for each number.
type Table struct {
	Columns []string `json:"columns"`
	Rows    []Row    `json:"rows"`
}

// Row is one way's numbers, NaN where there is none.
type Row struct {
	Name   string   `json:"name"`
	Values []Number `json:"values"`
}

// Number is a float64 whose NaN is null in JSON.
type Number float64

// MarshalJSON writes the number, or null.
func (n Number) MarshalJSON() ([]byte, error) {
	if f := float64(n); !math.IsNaN(f) && !math.IsInf(f, 0) {
		return json.Marshal(f)
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads a number, or null.
func (n *Number) UnmarshalJSON(data []byte) error {
	f := math.NaN()
	if string(data) != "null" {
		if err := json.Unmarshal(data, &f); err != nil {
			return err
		}
	}
	*n = Number(f)
	return nil
}

func (n Number) String() string {
	if math.IsNaN(float64(n)) {
		return "–"
	}
	return fmt.Sprintf("%.3f", float64(n))
}

// Add appends a row.
func (t *Table) Add(name string, values ...float64) {
	r := Row{Name: name}
	for _, v := range values {
		r.Values = append(r.Values, Number(v))
	}
	t.Rows = append(t.Rows, r)
}

// WriteText writes aligned columns, three digits after the point.
func (t *Table) WriteText(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tab, "\t"+strings.Join(t.Columns, "\t"))
	for _, r := range t.Rows {
		fmt.Fprintln(tab, strings.Join(append([]string{r.Name}, r.cells()...), "\t"))
	}
	return tab.Flush()
}

// WriteMarkdown writes a Markdown table.
func (t *Table) WriteMarkdown(w io.Writer) error {
	lines := []string{"| | " + strings.Join(t.Columns, " | ") + " |", "|---" + strings.Repeat("|---:", len(t.Columns)) + "|"}
	for _, r := range t.Rows {
		lines = append(lines, "| "+strings.Join(append([]string{r.Name}, r.cells()...), " | ")+" |")
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

func (r Row) cells() []string {
	out := make([]string, len(r.Values))
	for i, v := range r.Values {
		out[i] = v.String()
	}
	return out
}
