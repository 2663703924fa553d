"""The report: what the analyses found in one file or a run of them, as one HTML page.

`contents` turns statistics into the page's data, `document` puts data, code and style into one
text. page.html, page.css and the scripts are written by hand, without a build step; uplot.min.js
and uplot.min.css are uPlot 1.6.32 (https://www.npmjs.com/package/uplot), its licence beside them.
"""
