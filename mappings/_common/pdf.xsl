<?xml version="1.0" encoding="UTF-8"?>
<!-- The application as a page to be printed or filed: the HTML of the mail on A4, with page numbers. The gap between label
     and value is wide enough for whoever reads the text again (pdftotext) not to take both for one line. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:import href="html.xsl"/>

  <xsl:template name="stil">
    <xsl:call-template name="grundstil"/>
    <xsl:text>
      @page {
        size: A4; margin: 20mm 18mm 22mm 22mm; font-family: "DejaVu Sans", Verdana, Arial, sans-serif;
        @bottom-left { content: "</xsl:text><xsl:value-of select="$short"/><xsl:text>"; font-size: 8pt; color: #404040; }
        @bottom-right { content: "Seite " counter(page) " von " counter(pages); font-size: 8pt; color: #404040; }
      }
      body { font-size: 10pt; }
      h2 { break-after: avoid; }
      tr { break-inside: avoid; }
      tr.lang { break-inside: auto; }
    </xsl:text>
  </xsl:template>
</xsl:stylesheet>
