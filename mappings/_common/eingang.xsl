<?xml version="1.0" encoding="UTF-8"?>
<!-- What every common stylesheet needs: the parameters the hub gives, the head (kopf.xsl), the lines of a value (zeilen.xsl),
     dates as a clerk reads them.
     A municipality overrides a template by importing the stylesheet (common:mail-html.xsl …) and writing its own. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="zeilen.xsl"/>
  <xsl:import href="kopf.xsl"/>

  <xsl:param name="name"/>
  <xsl:param name="behoerde" select="$name"/>
  <xsl:param name="ags" select="/e:envelope/e:metadata/e:message/@ags"/>
  <xsl:param name="message-id" select="/e:envelope/e:metadata/e:message/@id"/>
  <xsl:param name="case"/>
  <xsl:param name="subject" select="/e:envelope/e:metadata/e:message/@service"/>

  <xsl:variable name="message" select="/e:envelope/e:metadata/e:message"/>
  <xsl:variable name="form" select="/e:envelope/e:metadata/e:form"/>
  <xsl:variable name="uploads" select="/e:envelope/e:attachments/e:attachment[@role = 'upload']"/>
  <xsl:variable name="short" select="concat(substring($message-id, 1, 8), '-',
                                            substring($message-id, string-length($message-id) - 3))"/>

  <!-- A municipality's letterhead: four places that are empty (the colour is ours) until its stylesheet overrides them.
       briefkopf stands above the heading, vortext below it, fusszeile at the end; farbe is the colour of headings, as CSS
       writes it. In mail-text.xsl they are text, else elements of a page. -->
  <xsl:template name="briefkopf"/>
  <xsl:template name="vortext"/>
  <xsl:template name="fusszeile"/>
  <xsl:template name="farbe">#003f75</xsl:template>

  <!-- 2026-11-22T10:11:12+01:00 to 22.11.2026, 10:11 Uhr; the hub writes local time. -->
  <xsl:template name="zeitpunkt">
    <xsl:param name="iso"/>
    <xsl:if test="string($iso)">
      <xsl:value-of select="concat(substring($iso, 9, 2), '.', substring($iso, 6, 2), '.', substring($iso, 1, 4))"/>
      <xsl:if test="contains($iso, 'T')">, <xsl:value-of select="substring($iso, 12, 5)"/> Uhr</xsl:if>
    </xsl:if>
  </xsl:template>

  <!-- "Hund" or, where there are several, "Hund 1 von 2". -->
  <xsl:template name="titel">
    <xsl:variable name="filled" select="../instance[*[normalize-space(@e:text)]]"/>
    <xsl:value-of select="../@e:title"/>
    <xsl:if test="count($filled) &gt; 1">
      <xsl:variable name="n" select="count(preceding-sibling::instance[*[normalize-space(@e:text)]]) + 1"/>
      <xsl:value-of select="concat(' ', $n, ' von ', count($filled))"/>
    </xsl:if>
  </xsl:template>

  <!-- A file of the applicant's: its name at the receiver, its name as sent where that differs, its size, and what was
       seen in it. -->
  <xsl:template name="anlage">
    <xsl:value-of select="@name"/>
    <xsl:if test="@filename and @filename != @name">
      <xsl:value-of select="concat(' – im Original „', normalize-space(@filename), '“')"/>
    </xsl:if>
    <xsl:text> (</xsl:text><xsl:call-template name="groesse"/><xsl:text>)</xsl:text>
    <xsl:if test="string(@marks)">
      <xsl:text> – Achtung:</xsl:text>
      <xsl:if test="contains(@marks, 'program')"> Programm;</xsl:if>
      <xsl:if test="contains(@marks, 'script')"> enthält ein Skript;</xsl:if>
      <xsl:if test="contains(@marks, 'macro')"> enthält Makros;</xsl:if>
      <xsl:if test="contains(@marks, 'archive')"> Archiv, nicht ausgepackt<xsl:call-template name="archiv"/>;</xsl:if>
      <xsl:if test="contains(@marks, 'locked')"> Archiv mit Kennwort;</xsl:if>
      <xsl:if test="contains(@marks, 'other-type')"> Inhalt passt nicht zum Namen;</xsl:if>
      <xsl:text> vor dem Öffnen prüfen</xsl:text>
    </xsl:if>
  </xsl:template>

  <!-- What an archive lists: how many files, and the names of the first ten. -->
  <xsl:template name="archiv">
    <xsl:if test="@entries">
      <xsl:value-of select="concat(' (Einträge: ', @entries)"/>
      <xsl:for-each select="e:entry[position() &lt;= 10]">
        <xsl:choose>
          <xsl:when test="position() = 1">: </xsl:when>
          <xsl:otherwise>, </xsl:otherwise>
        </xsl:choose>
        <xsl:value-of select="normalize-space(.)"/>
      </xsl:for-each>
      <xsl:if test="@entries &gt; 10"> …</xsl:if>
      <xsl:text>)</xsl:text>
    </xsl:if>
  </xsl:template>

  <xsl:template name="groesse">
    <xsl:choose>
      <xsl:when test="@size &gt;= 1000000">
        <xsl:value-of select="concat(translate(format-number(@size div 1000000, '0.0'), '.', ','), ' MB')"/>
      </xsl:when>
      <xsl:when test="@size &gt;= 1000"><xsl:value-of select="concat(round(@size div 1000), ' kB')"/></xsl:when>
      <xsl:otherwise><xsl:value-of select="concat(@size, ' Byte')"/></xsl:otherwise>
    </xsl:choose>
  </xsl:template>
</xsl:stylesheet>
