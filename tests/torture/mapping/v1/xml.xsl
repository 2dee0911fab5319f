<?xml version="1.0" encoding="UTF-8"?>
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="urn:datendrehscheibe:envelope:1"
                exclude-result-prefixes="e">
  <xsl:output method="xml" encoding="UTF-8"/>
  <xsl:template match="/">
    <xsl:variable name="probe" select="/e:envelope/e:fields/probe/instance"/>
    <Probe nummer="{$probe/nummer}" summe="{$probe/summe}"><xsl:value-of select="$probe/inhalt"/></Probe>
  </xsl:template>
</xsl:stylesheet>
