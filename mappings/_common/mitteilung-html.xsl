<?xml version="1.0" encoding="UTF-8"?>
<!-- The notice as a page. -->
<xsl:stylesheet version="3.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" exclude-result-prefixes="#all">
  <xsl:import href="mitteilung.xsl"/>
  <xsl:output method="html" html-version="5" encoding="UTF-8" indent="yes"/>

  <xsl:template match="/">
    <html lang="de">
      <head><title><xsl:value-of select="$betreff"/></title></head>
      <body>
        <xsl:call-template name="briefkopf"/>
        <h1><xsl:value-of select="$betreff"/></h1>
        <xsl:call-template name="vortext"/>
        <xsl:for-each select="$absaetze"><p><xsl:value-of select="."/></p></xsl:for-each>
        <xsl:call-template name="fusszeile"/>
      </body>
    </html>
  </xsl:template>
</xsl:stylesheet>
