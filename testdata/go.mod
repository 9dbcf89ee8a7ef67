module github.com/clipsurgery/clipsurgery/testdata

go 1.25.0
